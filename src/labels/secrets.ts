import { createHash, randomBytes } from "node:crypto";

/** Creates the secret of a link, session or token: 256 random bits. */
export const newSecret = (): string => randomBytes(32).toString("base64url");

/** Hashes a secret for storage. SHA-256 is enough, because it cannot be guessed as a password can. */
export const secretHash = (secret: string): string => createHash("sha256").update(secret).digest("hex");
