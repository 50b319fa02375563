/**
 * What a token may be used for. `read`: everything that its user may read. `import`: add tasks. `label`: fetch tasks and
 * judge them. `manage`: change projects, guidelines, members and accounts, and decide disputes.
 */
export const scopes = ["read", "import", "label", "manage"] as const;
export type Scope = (typeof scopes)[number];
