// Copy Swagger UI into the built page, so that /docs of the service needs no other host.
import { copyFileSync, mkdirSync } from "node:fs";

const FROM = new URL("node_modules/swagger-ui-dist/", import.meta.url);
const TO = new URL("../src/emofocus/serving/page/docs/", import.meta.url);

mkdirSync(TO, { recursive: true });
for (const name of ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt", "LICENSE"]) {
  copyFileSync(new URL(name, FROM), new URL(name, TO));
}
