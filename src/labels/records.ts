import type { Message } from "../data/records.ts";
import type { Role } from "./events.ts";
import type { ProjectSettings, Question } from "./settings.ts";

export interface User {
  id: string;
  name: string;
  role: Role;
  skills: string[];
  /** What the project compares labelers by: experience, language, region… */
  cohort: Record<string, string>;
  active: boolean;
  since: number;
}

export interface Project {
  id: string;
  name: string;
  settings: ProjectSettings;
  /** Version of the guidelines; 0 while there are none. */
  guidelines: number;
  at: number;
}

export interface Guidelines {
  version: number;
  text: string;
  questions: Question[];
}

/** A task as it is put in front of a labeler: completions in their order, without where they come from. */
export interface Assignment {
  lease: string;
  task: string;
  messages: Message[];
  completions: string[];
  /** What was last saved of the answer, about the completions as shown. */
  draft: unknown;
  expires: number;
}

/** What `addTask` takes. */
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
}
