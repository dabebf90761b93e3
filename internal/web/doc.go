// Package web is the page at /, made for looking: is the server well, how fast is it, who reads what. It is
// rendered on the server, charts included, from templates and styles in the binary; a script refreshes what
// changes, and without it everything works but that.
//
// Totals over all apps are for everybody, as in GET /v1/status. The numbers of an app take a session, which a form
// exchanges for the admin key. The session is a cookie, and opens nothing but the page: the API takes bearers only.
//
// Every view is / with a query, and every link is relative, so that the page works behind a proxy that puts it
// under another path.
package web
