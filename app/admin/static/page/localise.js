import { localise } from "./time.js";

localise(document);
