// The description of the service's calls, drawn by Swagger UI, which the page's build puts beside this file.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#calls",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null, // nothing is sent to another host
});
