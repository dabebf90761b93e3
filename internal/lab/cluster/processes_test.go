package cluster

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/receiptd/receiptd/internal/lab/clock"
)

// brokerEnv has this program be a NATS server with the configuration in the file that it names.
const brokerEnv = "CLUSTER_LAB_BROKER"

// programEnv names the program to a process whose parent has built it.
const programEnv = "CLUSTER_LAB_PROGRAM"

var program = os.Getenv(programEnv) // receiptd; receiptctl is beside it

func TestMain(m *testing.M) {
	if file := os.Getenv(brokerEnv); file != "" {
		os.Exit(serveNATS(file))
	}
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	if err := settleInside(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if program != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "cluster-lab-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "receiptd")
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if code, done := goInside(); done {
		return code
	}
	return m.Run()
}

// build builds the programs into a directory; such as have clocks, if they are wanted.
func build(dir string) error {
	var flags []string
	if raceDetector() {
		flags = append(flags, "-race")
	}
	steps := [][]string{{"build", "-o", dir + string(filepath.Separator), "github.com/receiptd/receiptd/cmd/receiptd", "github.com/receiptd/receiptd/cmd/receiptctl"}}
	if clocksWanted() {
		overlay, err := clock.Overlay(dir)
		if err != nil {
			return err
		}
		flags = append(flags, "-overlay", overlay)
		steps = append(steps, []string{"test", "-c", "-o", filepath.Join(dir, brokerFile), "github.com/receiptd/receiptd/internal/lab/cluster"})
	}
	for _, step := range steps {
		args := slices.Concat(step[:1], flags, step[1:])
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// brokerFile is a NATS server that has a clock, beside a receiptd that has one. It is this program,
// built once more.
const brokerFile = "broker"

// clocksWanted reports whether the machines are to have clocks of their own, which takes minutes to
// build: in the long form, and if it is asked for.
func clocksWanted() bool {
	if *only != "" {
		return slices.Contains(strings.Split(*only, ","), clockFault)
	}
	return *duration > 0
}

// brokerProgram is this program, or the one like it that has a clock.
func brokerProgram() (path string, hasClock bool, err error) {
	path = filepath.Join(filepath.Dir(program), brokerFile)
	if _, err := os.Stat(path); err == nil {
		return path, true, nil
	}
	path, err = os.Executable()
	return path, false, err
}

// raceDetector reports whether the tests were built with it, as what they start is to be then.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func serveNATS(file string) int {
	opts, err := server.ProcessConfigFile(file)
	if err == nil {
		var s *server.Server
		if s, err = server.NewServer(opts); err == nil {
			s.Start()
			s.WaitForShutdown()
			return 0
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// process is a program that is killed, paused and started again.
type process struct {
	t    testing.TB
	name string
	make func() *exec.Cmd

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	log    *os.File

	supervised bool
	ending     bool // by the lab
}

func newProcess(t testing.TB, dir, name string, make func() *exec.Cmd) *process {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, name: name, make: make, log: log}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			text := p.said()
			t.Logf("the end of %s's log:\n%s", name, text[max(0, len(text)-4<<10):])
		}
	})
	return p
}

// said is all that it has logged.
func (p *process) said() string {
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		p.t.Error(err)
	}
	return string(text)
}

func (p *process) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.startLocked()
}

func (p *process) startLocked() {
	p.ending = false
	p.cmd = p.make()
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Errorf("start %s: %v", p.name, err)
		return
	}
	exited := make(chan struct{})
	p.exited = exited
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait()
		close(exited)
		p.again(cmd)
	}(p.cmd)
}

func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Signal(s)
	}
}

// supervise has it started again whenever it ends by itself: a node does whose NATS server has
// turned its store off, for a full disk.
func (p *process) supervise() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.supervised = true
}

// again starts it if it is supervised and has ended by itself, and nobody has started it meanwhile.
func (p *process) again(ended *exec.Cmd) {
	time.Sleep(time.Second) // as a supervisor waits
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.supervised && !p.ending && p.cmd == ended {
		p.startLocked()
	}
}

// kill ends it as kill -9 does.
func (p *process) kill() { p.end(syscall.SIGKILL) }

// stop has it end in order.
func (p *process) stop() { p.end(syscall.SIGTERM) }

func (p *process) end(s syscall.Signal) {
	p.mu.Lock()
	p.ending = true
	exited := p.exited
	p.mu.Unlock()
	p.signal(s)
	if exited == nil {
		return
	}
	select {
	case <-exited:
	case <-time.After(patience):
		p.t.Errorf("%s does not end", p.name)
		p.signal(syscall.SIGQUIT)
		<-exited
	}
}

// pause stops it for a while.
func (p *process) pause(d time.Duration) {
	p.signal(syscall.SIGSTOP)
	time.Sleep(d) // as long as it is to stand still
	p.signal(syscall.SIGCONT)
}

// startBrokers starts NATS servers that sync always, and returns their URLs.
func startBrokers(t testing.TB, n *network, dir string, hosts []*host) (brokers []*machine, urls string) {
	t.Helper()
	broker, _, err := brokerProgram()
	if err != nil {
		t.Fatal(err)
	}
	listen, meet := n.listen(hosts, 4222), n.listen(hosts, 6222)
	for i, h := range hosts {
		file := filepath.Join(dir, fmt.Sprintf("broker%d.conf", i))
		text := fmt.Sprintf(`server_name: s%d
listen: %q
jetstream { store_dir: %q, sync_interval: always }
cluster { name: lab, listen: %q, routes: [ "nats://%s" ] }
`, i, listen[i], filepath.Join(dir, h.name), meet[i], strings.Join(meet, `", "nats://`))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		m := &machine{host: h, data: filepath.Join(dir, h.name), clock: newClock(t, dir, h)}
		m.process = newProcess(t, dir, h.name, func() *exec.Cmd {
			cmd := h.command(broker)
			cmd.Env = append(m.environment(), brokerEnv+"="+file)
			return cmd
		})
		m.start()
		brokers = append(brokers, m)
	}
	return brokers, "nats://" + strings.Join(listen, ",nats://")
}

// machine is a host and the program on it: a NATS server or a receiptd.
type machine struct {
	*process
	host *host
	data string
	url  string // of a receiptd
	// clock is its wall clock; nil if that is this machine's.
	clock *clock.Clock
	// version is another build of receiptd than the one under test; empty for none. It counts from
	// the next start on.
	version string
}

// newClock makes the clock of a host, if its programs take one.
func newClock(t testing.TB, dir string, h *host) *clock.Clock {
	t.Helper()
	if _, has, _ := brokerProgram(); !has {
		return nil
	}
	c, err := clock.New(filepath.Join(dir, "clock-"+h.name))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (m *machine) environment() []string {
	if m.clock == nil {
		return os.Environ()
	}
	return append(os.Environ(), m.clock.Env())
}

const adminKey = "the-admin-key-of-the-lab"

// partitions are what the nodes' log is made with.
const partitions = 2

// dataBytes is what there is room for in the data directory of a node.
const dataBytes = 4 << 30

// meeting has nodes form a cluster by themselves, whose NATS servers meet at these addresses.
func meeting(meet []string) func(i int) []string {
	return func(i int) []string {
		return []string{"--cluster-listen", meet[i], "--cluster-routes", strings.Join(meet, ","), "--cluster-secret", "the-secret-of-the-lab"}
	}
}

// startNodes starts a receiptd on each host, with further arguments of its own.
func startNodes(t testing.TB, n *network, dir string, hosts []*host, args func(i int) []string) (nodes []*machine) {
	t.Helper()
	listen := n.listen(hosts, 8080)
	for i, h := range hosts {
		m := &machine{host: h, url: "http://" + listen[i], data: filepath.Join(dir, "data-"+h.name), clock: newClock(t, dir, h)}
		if err := os.Mkdir(m.data, 0o700); err != nil {
			t.Fatal(err)
		}
		if inside {
			if err := mountSmall(m.data, dataBytes); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unmount(m.data) })
		}
		m.process = newProcess(t, dir, h.name, func() *exec.Cmd {
			all := append([]string{"--node", h.name, "--data", m.data, "--listen", listen[i], "--partitions", fmt.Sprint(partitions), "--hosts", h.address}, args(i)...)
			cmd := h.command(cmp.Or(m.version, program), all...)
			cmd.Env = append(m.environment(), "RECEIPTD_ADMIN_KEY="+adminKey)
			return cmd
		})
		m.start()
		nodes = append(nodes, m)
	}
	return nodes
}
