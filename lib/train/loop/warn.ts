/** Tells of what is no error, where the caller gave no `onWarning`. */
export const emitWarning = (message: string): void => process.emitWarning(message, "HeddleWarning");
