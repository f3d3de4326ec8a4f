// Swagger UI for this application's OpenAPI document; it sends no request to another host.

SwaggerUIBundle({ url: "/openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null });
