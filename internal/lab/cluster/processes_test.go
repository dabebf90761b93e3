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
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if raceDetector() {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "github.com/receiptd/receiptd/cmd/receiptd", "github.com/receiptd/receiptd/cmd/receiptctl")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	if code, done := goInside(); done {
		return code
	}
	return m.Run()
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
	}(p.cmd)
}

func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Signal(s)
	}
}

// kill ends it as kill -9 does.
func (p *process) kill() { p.end(syscall.SIGKILL) }

// stop has it end in order.
func (p *process) stop() { p.end(syscall.SIGTERM) }

func (p *process) end(s syscall.Signal) {
	p.signal(s)
	if p.exited == nil {
		return
	}
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Errorf("%s does not end", p.name)
		p.signal(syscall.SIGQUIT)
		<-p.exited
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
	self, err := os.Executable()
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
		brokers = append(brokers, &machine{host: h, data: filepath.Join(dir, h.name), process: newProcess(t, dir, h.name, func() *exec.Cmd {
			cmd := h.command(self)
			cmd.Env = append(os.Environ(), brokerEnv+"="+file)
			return cmd
		})})
		brokers[i].start()
	}
	return brokers, "nats://" + strings.Join(listen, ",nats://")
}

// machine is a host and the program on it: a NATS server or a receiptd.
type machine struct {
	*process
	host *host
	data string
	url  string // of a receiptd
	// version is another build of receiptd than the one under test; empty for none. It counts from
	// the next start on.
	version string
}

const adminKey = "the-admin-key-of-the-lab"

// dataBytes is what there is room for in the data directory of a node.
const dataBytes = 4 << 30

// startNodes starts a receiptd on each host, with further arguments of its own.
func startNodes(t testing.TB, n *network, dir string, hosts []*host, args func(i int) []string) (nodes []*machine) {
	t.Helper()
	listen := n.listen(hosts, 8080)
	for i, h := range hosts {
		m := &machine{host: h, url: "http://" + listen[i], data: filepath.Join(dir, "data-"+h.name)}
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
			all := append([]string{"--node", h.name, "--data", m.data, "--listen", listen[i], "--partitions", "2", "--hosts", h.address}, args(i)...)
			cmd := h.command(cmp.Or(m.version, program), all...)
			cmd.Env = append(os.Environ(), "RECEIPTD_ADMIN_KEY="+adminKey)
			return cmd
		})
		m.start()
		nodes = append(nodes, m)
	}
	return nodes
}
