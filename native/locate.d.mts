export const torchVersion: string;
export const addonSources: string[];
export const emulated: boolean;
export const kernelFlags: string[];
export function cacheDir(): string;
export function addonDir(): string;
export function findAddon(): string | undefined;
