import type { Message } from "../data/records.ts";
import type { Role } from "./events.ts";
import type { ProjectSettings, Question } from "./settings.ts";

export interface User {
  id: string;
  name: string;
  role: Role;
  skills: string[];
  /** Attributes to compare groups of labelers by: experience, language, region… */
  cohort: Record<string, string>;
  active: boolean;
  since: number;
}

export interface Project {
  id: string;
  name: string;
  settings: ProjectSettings;
  /** Version of the newest guidelines; 0 if there are none. */
  guidelines: number;
  at: number;
  /** Takes no more tasks, and gives none to labelers. */
  archived: boolean;
}

export interface Guidelines {
  version: number;
  text: string;
  questions: Question[];
}

/** A task as a labeler sees it: completions in a random order, without the models that wrote them. */
export interface Assignment {
  lease: string;
  task: string;
  messages: Message[];
  completions: string[];
  /** The draft that was saved last, in the order that is shown. */
  draft: unknown;
  expires: number;
}

/** Input of `LabelStore.addTasks`. */
export interface NewTask {
  messages: Message[];
  completions: {
    text: string;
    model?: string;
    run?: string;
    temperature?: number;
    seed?: number;
  }[];
  gold?: { ranks?: number[]; preference?: number } | undefined;
  skill?: string;
  source?: string;
  /** Import that adds it. */
  import?: string;
}
