// Starts Swagger UI. In a file of its own, so that the page's Content-Security-
// Policy can refuse inline scripts. What "Authorize" gets is kept in memory only.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  persistAuthorization: false,
  validatorUrl: null,
});
