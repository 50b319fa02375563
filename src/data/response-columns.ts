/** Columns that hold a prompt's answers side by side: response_1 to response_9. */
export const responseColumns = Array.from({ length: 9 }, (_, i) => `response_${i + 1}`);
