// Package web is the page at /, for people: is the server well, how fast is it, who reads what. It
// is rendered on the server, charts included, from templates and styles in the binary. A script
// refreshes what changes; without it everything else works.
//
// Totals over all apps are for everybody, as in GET /v1/status. The numbers of an app take a
// session, which a form grants for the admin key. The session is a cookie, and opens nothing but
// the page: the API only takes bearers.
//
// Every view is / with a query, and every link is relative, so that the page works behind a proxy
// that puts it under another path.
package web
