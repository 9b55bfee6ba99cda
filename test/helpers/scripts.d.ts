// The scripts have no types.
declare module "*.mjs";
