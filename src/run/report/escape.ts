const names: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Escapes text for HTML content or an attribute value. Models' texts are untrusted. */
export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (c) => names[c] as string);
