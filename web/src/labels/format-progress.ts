import type { Project } from "../ui/api.ts";

/** Formats a project's progress, and the signed-in user's part in it, in one line of text. */
export const formatProgress = ({
  mine,
  complete,
  tasks,
}: Pick<Project, "mine" | "complete" | "tasks">): string =>
  `${mine} answered by you, ${complete} of ${tasks} tasks done`;
