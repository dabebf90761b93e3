// Package overload measures what receiptd does when it is asked for more than it can do: many
// connections that send as fast as they are answered, batches of some size, several tenants, and
// beside them a quiet one, health, metrics and the page.
package overload
