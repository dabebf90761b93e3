package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// asFlooder is the argument that makes a program that calls [FloodIfAsked] flood a server.
	asFlooder = "flood-for-benchmark"
	// floodAddress is where floods come from, so that what is counted by address is not the quiet
	// tenant's.
	floodAddress = "127.0.0.2"
	// answersWithin bounds the wait for a flood's first answer: where much else runs, that may take
	// longer than a short measurement.
	answersWithin = 30 * time.Second
	// endsWithin is how long a flooder has to say what it was answered, from the end on.
	endsWithin = answersWithin + 30*time.Second
)

// floodKinds are the floods, in their order: the name of each, and what one of its connections does
// until the context ends.
var floodKinds = []struct {
	name string
	pour func(f *flooder, ctx context.Context, i int)
}{
	{"SDK messages", (*flooder).messages},
	{"SDK calls", (*flooder).calls},
	{"logins", (*flooder).logins},
	{"idle sockets", (*flooder).sockets},
	{"groups", (*flooder).groups},
}

// floodOrder is what a process that floods reads from its standard input; the flood ends with that.
// The flooder is a process of its own: what it does for its own requests must not delay the quiet
// tenant's in the process that measures them.
type floodOrder struct {
	// Kind is an index of floodKinds: both ends are one program.
	Kind int `json:"kind"`
	// Server is the base URL.
	Server string `json:"server"`
	// App is the path of the flooded app, Token that of a user of it.
	App      string `json:"app"`
	Token    string `json:"token"`
	Flooders int    `json:"flooders"`
	Sockets  int    `json:"sockets"`
}

// floodAnswers is what it writes in the end.
type floodAnswers struct {
	// Answered requests of the flood, and those that were Refused or had no answer.
	Answered int64 `json:"answered"`
	Refused  int64 `json:"refused"`
	// Reason is why the last one was refused.
	Reason string `json:"reason,omitempty"`
}

// FloodIfAsked floods a server and exits, if [Floods] has started the program for that. Otherwise
// it does nothing. Call it first in main or TestMain.
func FloodIfAsked() {
	if len(os.Args) != 2 || os.Args[1] != asFlooder {
		return
	}
	if err := flood(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// flooder is a flood in progress, in the process that floods.
type flooder struct {
	order             floodOrder
	socket            string
	client            http.Client
	answered, refused atomic.Int64
	reason            atomic.Pointer[string] // of the last refusal
}

// flood floods until the end of in.
func flood(in io.Reader, out io.Writer) error {
	f := new(flooder)
	orders := json.NewDecoder(in)
	if err := orders.Decode(&f.order); err != nil {
		return fmt.Errorf("flood: read the order: %w", err)
	}
	base, err := url.Parse(f.order.Server)
	if err != nil {
		return fmt.Errorf("flood: %w", err)
	}
	pour := floodKinds[f.order.Kind].pour
	f.socket = socket(base)
	dial := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(floodAddress)}}).DialContext
	f.client.Transport = &http.Transport{DialContext: dial, MaxIdleConnsPerHost: f.order.Flooders}
	f.reason.Store(new(string))

	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range f.order.Flooders {
		all.Go(func() { pour(f, ctx, i) })
	}
	_ = orders.Decode(new(struct{})) // returns at the end of in, however that comes about
	f.await()
	stop()
	all.Wait()
	return json.NewEncoder(out).Encode(floodAnswers{Answered: f.answered.Load(), Refused: f.refused.Load(), Reason: *f.reason.Load()})
}

// await waits for the first answer.
func (f *flooder) await() {
	late := time.After(answersWithin)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for f.answered.Load()+f.refused.Load() == 0 {
		select {
		case <-again.C:
		case <-late:
			return
		}
	}
}

// flooding is a process that floods, for the one that started it.
type flooding struct {
	cmd   *exec.Cmd
	order io.WriteCloser
	said  *json.Decoder
	stop  context.CancelFunc
}

// startFlood starts a flood, by this program once more. It ends with the context, too.
func startFlood(ctx context.Context, order floodOrder) (x *flooding, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start a flood: find this program: %w", err)
	}
	x = new(flooding)
	ctx, x.stop = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			x.stop()
		}
	}()
	x.cmd = exec.CommandContext(ctx, program, asFlooder)
	x.cmd.Stderr = os.Stderr
	if x.order, err = x.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start a flood: %w", err)
	}
	said, err := x.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a flood: %w", err)
	}
	x.said = json.NewDecoder(said)
	if err = x.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a flood: %w", err)
	}
	if err = json.NewEncoder(x.order).Encode(order); err != nil {
		x.stop()
		return nil, errors.Join(fmt.Errorf("start a flood: %w", err), x.cmd.Wait())
	}
	return x, nil
}

// end ends the flood and returns what it was answered.
func (x *flooding) end() (a floodAnswers, err error) {
	defer x.stop()
	late := time.AfterFunc(endsWithin, x.stop)
	defer late.Stop()
	err = errors.Join(x.order.Close(), x.said.Decode(&a))
	if err = errors.Join(err, x.cmd.Wait()); err != nil {
		err = fmt.Errorf("end the flood: %w", err)
	}
	return a, err
}
