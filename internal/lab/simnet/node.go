package simnet

import (
	"context"
	"sync"
	"time"
)

// Node is a machine on the network, and the network as its process has it: what nodes of a cluster
// tell, hear, ask and answer.
type Node struct {
	name string
	net  *Network

	mu     sync.Mutex
	gone   bool
	paused chan struct{} // closed when it goes on; nil if it runs
	hear   func([]byte)
	answer func([]byte) []byte
}

// Name is the name that it was added by.
func (x *Node) Name() string { return x.name }

// Awake waits while the node stands still. It reports whether its process is there.
func (x *Node) Awake() bool {
	for {
		x.mu.Lock()
		paused, gone := x.paused, x.gone
		x.mu.Unlock()
		if paused == nil || gone {
			return !gone
		}
		<-paused
	}
}

// Runs reports whether the node neither stands still nor is gone.
func (x *Node) Runs() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.paused == nil && !x.gone
}

// Paused reports whether the node stands still.
func (x *Node) Paused() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.paused != nil
}

// Pause has the node stand still until [Node.Resume]: it neither says nor hears anything. One that
// is gone is left alone.
func (x *Node) Pause() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.paused == nil && !x.gone {
		x.paused = make(chan struct{})
	}
}

// Resume has a node that stands still go on.
func (x *Node) Resume() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.resume()
}

// resume is called with mu held.
func (x *Node) resume() {
	if x.paused != nil {
		close(x.paused)
		x.paused = nil
	}
}

// Kill ends the node's process.
func (x *Node) Kill() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.gone = true
	x.resume()
}

// Start has a process be there again.
func (x *Node) Start() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.gone = false
}

// Tell tells something about a node to all that listen, itself too.
func (x *Node) Tell(about string, text []byte) error {
	if !x.Awake() {
		return nil
	}
	for _, to := range x.net.all() {
		if d, ok := x.net.way(about, to.name); ok {
			time.AfterFunc(d, func() { to.told(text) })
		}
	}
	return nil
}

func (x *Node) told(text []byte) {
	x.mu.Lock()
	hear := x.hear
	x.mu.Unlock()
	if hear != nil && x.Awake() {
		hear(text)
	}
}

// Listen has f be called with what is told. What stops it does nothing: processes end by
// [Node.Kill].
func (x *Node) Listen(f func([]byte)) (stop func(), err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.hear = f
	return func() {}, nil
}

// Answer has f answer what the node is asked. What stops it does nothing, as with [Node.Listen].
func (x *Node) Answer(_ string, f func([]byte) []byte) (stop func(), err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answer = f
	return func() {}, nil
}

// Ask asks a node. A question or an answer that is lost, and a node that stands still, are waited
// for until ctx ends.
func (x *Node) Ask(ctx context.Context, name string, question []byte) ([]byte, error) {
	there, ok := x.net.way(x.name, name)
	back, isBack := x.net.way(name, x.name)
	target := x.net.node(name)
	target.mu.Lock()
	gone, answer := target.gone, target.answer
	target.mu.Unlock()
	switch {
	case gone && ok: // the server says so
		time.Sleep(there) // by the clock of the bubble
		return nil, x.net.nobody
	case !ok || !isBack || answer == nil:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	got := make(chan []byte, 1)
	go func() {
		time.Sleep(there) // by the clock of the bubble
		if !target.Awake() {
			return
		}
		text := answer(question)
		if target.Awake() {
			time.Sleep(back) // by the clock of the bubble
			got <- text
		}
	}()
	select {
	case text := <-got:
		return text, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
