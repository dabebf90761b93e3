// Package fair shares what is limited among tenants: a weighted semaphore that serves those who
// wait by tenant, in proportion to the tenants' weights, and those of one tenant by user, one after
// the other. However many wait for one tenant, another one that asks for little is served next.
//
// It is start-time fair queueing: a virtual clock shows when the one served last was due, a tenant
// that begins to wait is due at that time, and each time it is served it is due later, by what it
// took divided by its weight. A tenant that does not wait is remembered until the clock is where it
// would be due, or nobody waits.
//
// What is held for long, such as connections, nobody waits for: [Slots] takes it from whoever
// holds most.
package fair
