// Package easemob serves those REST calls of the Easemob web SDK that receipts need: login and
// registration, groups and their members, and who has read a message. They are at the root, below
// /{org}/{app}, where the SDK calls them; org may not be v1. Every change they make is an event of
// the log, like any other.
//
// The SDK takes only 200 with a JSON object for success, and finds out what is wrong from status,
// error_code and error_description; the answers here have the shapes that it looks for. Browsers
// call from any origin: every answer carries the CORS headers, and no cookie is used.
package easemob
