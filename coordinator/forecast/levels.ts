/** Quantile levels of everything inside the forecaster; those of the API are among them. */
export const LEVELS = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99] as const;
