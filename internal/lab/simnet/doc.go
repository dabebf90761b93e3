// Package simnet is a network for simulations under [testing/synctest]: between its nodes messages
// take their time or are lost, as a seed decides, and nodes stand still, go and are cut off, as a
// test decides. All time is the test's bubble's.
package simnet
