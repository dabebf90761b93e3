// Package easemob serves the REST calls of the Easemob web SDK that receipts need: login and registration, groups and their members, and who has
// read a message. They are at the root, below /{org}/{app}, as the SDK calls them; org may not be v1. What they change is an
// event of the log, like everything else.
//
// The SDK takes 200 with a JSON object for success and nothing else, and finds out what is wrong from status, error_code and error_description; the
// forms here are those it looks for. Browsers call from any origin: every answer carries the CORS headers, and no cookie is used.
package easemob
