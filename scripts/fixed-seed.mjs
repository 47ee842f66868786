// Loaded before each test file: properties try the same cases in every run, so that a test which passed does not fail in the next for nothing.
// TEST_SEED=N npm test tries others; npm run fuzz never tries the same twice.
import fc from "fast-check";

fc.configureGlobal({ seed: Number(process.env.TEST_SEED ?? 1) });
