package cluster

import (
	"flag"
	"fmt"
	"net"
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

var program string // receiptd

func TestMain(m *testing.M) {
	if file := os.Getenv(brokerEnv); file != "" {
		os.Exit(serveNATS(file))
	}
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cluster-lab-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "receiptd")
	args := []string{"build", "-o", program}
	if raceDetector() {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "github.com/receiptd/receiptd/cmd/receiptd")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
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
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	if p.exited != nil {
		<-p.exited
	}
}

// pause stops it for a while.
func (p *process) pause(d time.Duration) {
	p.signal(syscall.SIGSTOP)
	time.Sleep(d)
	p.signal(syscall.SIGCONT)
}

// addresses are free ones, all different.
func addresses(t testing.TB, n int) (list []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		list = append(list, l.Addr().String())
	}
	return list
}

// startBrokers starts NATS servers that sync always, and returns their URLs.
func startBrokers(t testing.TB, dir string, n int) (brokers []*process, urls string) {
	t.Helper()
	listen, meet := addresses(t, n), addresses(t, n)
	for i := range n {
		file := filepath.Join(dir, fmt.Sprintf("broker%d.conf", i))
		text := fmt.Sprintf(`server_name: s%d
listen: %q
jetstream { store_dir: %q, sync_interval: always }
cluster { name: lab, listen: %q, routes: [ "nats://%s" ] }
`, i, listen[i], filepath.Join(dir, fmt.Sprintf("broker%d", i)), meet[i], strings.Join(meet, `", "nats://`))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		brokers = append(brokers, newProcess(t, dir, fmt.Sprintf("broker%d", i), func() *exec.Cmd {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), brokerEnv+"="+file)
			return cmd
		}))
		brokers[i].start()
	}
	return brokers, "nats://" + strings.Join(listen, ",nats://")
}

// node is a receiptd.
type node struct {
	*process
	url string
}

const adminKey = "the-admin-key-of-the-lab"

// startNodes starts receiptd a, b and c, each with further arguments of its own.
func startNodes(t testing.TB, dir string, args func(i int) []string) (nodes []*node) {
	t.Helper()
	listen := addresses(t, 3)
	for i, addr := range listen {
		name := string(rune('a' + i))
		n := &node{url: "http://" + addr}
		n.process = newProcess(t, dir, "node-"+name, func() *exec.Cmd {
			all := append([]string{"--node", name, "--data", filepath.Join(dir, "data-"+name), "--listen", addr, "--partitions", "2"}, args(i)...)
			cmd := exec.Command(program, all...)
			cmd.Env = append(os.Environ(), "RECEIPTD_ADMIN_KEY="+adminKey)
			return cmd
		})
		n.start()
		nodes = append(nodes, n)
	}
	return nodes
}
