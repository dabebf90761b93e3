// Package chtest gives tests a real ClickHouse that ends with them: a process of package chserver.
package chtest
