package analytics

import (
	"context"
	"runtime"
	"time"

	"github.com/receiptd/receiptd/internal/lab/bench/measure"
	"github.com/receiptd/receiptd/internal/lab/chserver"
)

// Times are seconds: wall-clock time, and processor time by process.
type Times struct {
	Wall   float64 `json:"wall_s"`
	Client float64 `json:"client_processor_s"` // this process
	Engine float64 `json:"engine_processor_s"`
}

// timer measures one span.
type timer struct {
	server  *chserver.Process
	started time.Time
	from    Times
}

// startTimer starts a timer once the engine has merged what was inserted before, and after a
// garbage collection.
func startTimer(ctx context.Context, server *chserver.Process) (*timer, error) {
	if err := measure.Rest(ctx, func() (float64, error) { return measure.TreeCPUSeconds(server.PID()) }); err != nil {
		return nil, err
	}
	runtime.GC()
	t := &timer{server: server, started: time.Now(), from: Times{Client: measure.CPUSeconds()}}
	var err error
	t.from.Engine, err = measure.TreeCPUSeconds(server.PID())
	return t, err
}

func (t *timer) end() (Times, error) {
	engine, err := measure.TreeCPUSeconds(t.server.PID())
	return Times{
		Wall: time.Since(t.started).Seconds(), Client: measure.CPUSeconds() - t.from.Client, Engine: engine - t.from.Engine,
	}, err
}
