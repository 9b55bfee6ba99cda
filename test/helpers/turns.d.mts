export declare const saysTurns: boolean;
export declare function watchTurns(): { stop(): Promise<number> };
export declare const onProcessor: () => number;
