package measure

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// Memory is what a process uses, in MiB.
type Memory struct {
	// Peak is the largest resident memory up to now, Resident the current one: Anonymous memory
	// and File, pages of files.
	Peak, Resident, Anonymous, File float64
}

// MemoryOf reads the memory of a process from /proc.
func MemoryOf(pid int) (Memory, error) {
	var m Memory
	name := fmt.Sprintf("/proc/%d/status", pid)
	f, err := os.Open(name)
	if err != nil {
		return m, fmt.Errorf("measure memory: %w", err)
	}
	defer f.Close()
	fields := map[string]*float64{"VmHWM": &m.Peak, "VmRSS": &m.Resident, "RssAnon": &m.Anonymous, "RssFile": &m.File}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		to, ok := fields[key]
		if !ok {
			continue
		}
		var kib float64
		if _, err := fmt.Sscan(value, &kib); err != nil {
			return m, fmt.Errorf("measure memory: %s of %s: %w", key, name, err)
		}
		*to = kib / 1024
	}
	if err := lines.Err(); err != nil {
		return m, fmt.Errorf("measure memory: %w", err)
	}
	return m, nil
}

// PeakRSS returns the largest resident memory of this process up to now, in MiB; 0 where it cannot
// be measured.
func PeakRSS() float64 {
	m, _ := MemoryOf(os.Getpid())
	return m.Peak
}
