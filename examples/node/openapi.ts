/** The document at /openapi.json. The agent asks for it once and takes its route templates for the metrics from it. */
const json = (description: string) => ({ description, content: { "application/json": {} } });
const id = { name: "id", in: "path", required: true, schema: { type: "integer", minimum: 1 } };

export const openapi = {
	openapi: "3.1.0",
	info: { title: "Orders", version: "1.0.0", description: "The example application of Outrigger." },
	paths: {
		"/": { get: { summary: "What there is", responses: { 200: json("Some paths to try") } } },
		"/orders": {
			get: {
				summary: "The newest orders",
				parameters: [
					{ name: "limit", in: "query", schema: { type: "integer", minimum: 1, maximum: 1000, default: 100 } },
				],
				responses: { 200: json("The newest first"), 400: json("The limit is not a number from 1 to 1000") },
			},
			post: {
				summary: "A new order",
				requestBody: {
					required: true,
					content: {
						"application/json": {
							schema: {
								type: "object",
								required: ["item"],
								properties: {
									item: { type: "string", minLength: 1, maxLength: 200 },
									quantity: { type: "integer", minimum: 1, maximum: 1000, default: 1 },
								},
							},
						},
					},
				},
				responses: { 201: json("Made"), 400: json("What is wrong"), 413: json("More than 64 KiB") },
			},
		},
		"/orders/{id}": {
			get: {
				summary: "One order",
				parameters: [id],
				responses: { 200: json("The order"), 404: json("There is none") },
			},
		},
		"/orders/{id}/invoice": {
			get: {
				summary: "An invoice, a line at a time, slowly",
				parameters: [id],
				responses: { 200: { description: "Ten lines of text" }, 404: json("There is none") },
			},
		},
		"/events": {
			get: { summary: "New orders as server-sent events", responses: { 200: { description: "text/event-stream" } } },
		},
		"/health": {
			get: { summary: "Whether the service can work", responses: { 200: json("Yes"), 503: json("It is stopping") } },
		},
	},
} as const;
