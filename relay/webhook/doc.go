// Package webhook sends one event to one endpoint: it matches event patterns, builds and signs the request, sends it over
// connections that are guarded against SSRF, and classifies the response.
//
// An Endpoint is a configured subscription. A Sender prepares it once as a Target, and makes one attempt per call of Send, which
// returns an Outcome with one of a fixed set of classes. The caller decides about retries, by means of Schedule. The package keeps
// no state of deliveries and does not use the database.
package webhook
