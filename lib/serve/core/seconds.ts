/** Returns the current time in whole seconds since 1970, as in the fields `created` of OpenAI's API. */
export const seconds = () => Math.floor(Date.now() / 1000);
