package sim

import (
	"math"
	"strconv"
)

// below is a random number from 0 to n-1.
func (g *Generator) below(n int) int { return int(g.random.Uint64() >> 32 * uint64(n) >> 32) }

// chance is true with probability p.
func (g *Generator) chance(p float64) bool { return float64(g.random.Uint64()>>11)*0x1p-53 < p }

// gap is how many times something of probability p does not happen before it happens.
func (g *Generator) gap(p float64) int {
	if p == 0 {
		return math.MaxInt
	}
	u := 1 - float64(g.random.Uint64()>>11)*0x1p-53
	return int(math.Log(u) / math.Log1p(-p))
}

// stride is a number that is prime to n, so that its multiples modulo n visit all numbers below n.
func (g *Generator) stride(n uint32) uint32 {
	for {
		if s := uint32(1 + g.below(int(n))); coprime(s, n) {
			return s % n
		}
	}
}

func coprime(a, b uint32) bool {
	for b != 0 {
		a, b = b, a%b
	}
	return a == 1
}

const (
	maxGenerators = 1 << generatorBits
	generatorBits = 10
	counterBits   = 12
	// firstMillisecond gives ids of 19 digits, for centuries.
	firstMillisecond = 411_000_000_000
	// idsPerChunk ids share one string.
	idsPerChunk = 256
	idDigits    = 19
)

// idMaker makes message ids like those of real services: decimal numbers of 19 digits made of a
// time in milliseconds, the machine that gave them and a counter. The time is not that of a clock:
// it passes with the messages, eight a millisecond.
type idMaker struct {
	machine      uint64
	milliseconds uint64
	counter      uint64

	chunk   string
	numbers []uint64 // of the ids that are left in chunk
}

func newIDMaker(machine uint64) idMaker {
	return idMaker{machine: machine, milliseconds: firstMillisecond}
}

// next is a new id and its number.
func (m *idMaker) next() (string, uint64) {
	if len(m.numbers) == 0 {
		m.fill()
	}
	id, number := m.chunk[:idDigits], m.numbers[0]
	m.chunk, m.numbers = m.chunk[idDigits:], m.numbers[1:]
	return id, number
}

func (m *idMaker) fill() {
	text := make([]byte, 0, idsPerChunk*idDigits)
	m.numbers = make([]uint64, idsPerChunk)
	for i := range m.numbers {
		if m.counter++; m.counter == 8 {
			m.counter = 0
			m.milliseconds++
		}
		m.numbers[i] = m.milliseconds<<(generatorBits+counterBits) | m.machine<<counterBits | m.counter
		text = strconv.AppendUint(text, m.numbers[i], 10)
	}
	m.chunk = string(text)
}
