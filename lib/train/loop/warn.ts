/** Emits a warning if the caller gave no `onWarning`. */
export const emitWarning = (message: string): void => process.emitWarning(message, "HeddleWarning");
