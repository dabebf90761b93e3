package measure

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ticksPerSecond is the unit of times in /proc: USER_HZ, which is 100 on every architecture that Go
// runs on.
const ticksPerSecond = 100

// TreeCPUSeconds returns the processor time up to now of a process and its descendants, including
// those that have ended and been waited for.
func TreeCPUSeconds(pid int) (float64, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	type process struct {
		ticks    int64
		children []int
	}
	all := map[int]*process{}
	at := func(pid int) *process {
		if all[pid] == nil {
			all[pid] = new(process)
		}
		return all[pid]
	}
	for _, name := range stats {
		id, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			continue
		}
		parent, ticks, err := readStat(name)
		if err != nil {
			continue // it has ended
		}
		at(id).ticks = ticks
		at(parent).children = append(at(parent).children, id)
	}
	root, ok := all[pid]
	if !ok || root.ticks == 0 && len(root.children) == 0 {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
			return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
		}
	}
	var sum int64
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		p := at(todo[0])
		sum += p.ticks
		todo = append(todo, p.children...)
	}
	return float64(sum) / ticksPerSecond, nil
}

// readStat reads the parent and the times (its own and those of children waited for) from a line of
// /proc/PID/stat. The program's name stands in parentheses and may contain any character, so the
// fields begin after the last one.
func readStat(name string) (parent int, ticks int64, err error) {
	line, err := os.ReadFile(name)
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(line[bytes.LastIndexByte(line, ')')+1:]))
	const ppid, utime, cstime = 1, 11, 14 // counted from the state
	if len(fields) <= cstime {
		return 0, 0, fmt.Errorf("%s: %d fields", name, len(fields))
	}
	for _, field := range fields[utime : cstime+1] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		ticks += n
	}
	parent, err = strconv.Atoi(fields[ppid])
	return parent, ticks, err
}
