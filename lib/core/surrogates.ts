/** Whether a UTF-16 unit is the first of a pair. */
export const isHighSurrogate = (unit: number) => (unit & 0xfc00) === 0xd800;
/** Whether a UTF-16 unit is the second of a pair. */
export const isLowSurrogate = (unit: number) => (unit & 0xfc00) === 0xdc00;
