export { createApi, startApi } from "./api.ts";
