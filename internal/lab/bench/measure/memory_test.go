package measure

import (
	"math"
	"os"
	"testing"
)

func TestMemoryOfThisProcess(t *testing.T) {
	m, err := MemoryOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !(m.Peak >= m.Resident && m.Anonymous > 0 && m.File > 0 && m.Anonymous+m.File <= m.Resident*1.1) {
		t.Errorf("%+v", m)
	}
	if _, err := MemoryOf(math.MaxInt32); err == nil {
		t.Error("of a process that is not there")
	}
	if PeakRSS() < m.Peak {
		t.Errorf("%v, and before %v", PeakRSS(), m.Peak)
	}
}
