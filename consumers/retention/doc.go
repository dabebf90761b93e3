// Package retention lets old entries leave the log once nobody needs them there any more.
package retention
