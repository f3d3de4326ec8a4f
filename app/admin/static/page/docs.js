// Swagger UI over this application's own description; nothing is asked of any other host.

SwaggerUIBundle({ url: "/openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null });
