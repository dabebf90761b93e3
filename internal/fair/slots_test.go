package fair

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Whoever holds few gets a slot of those who hold many, down to the same for each by weight.
func TestSlotsGoFromThoseWhoHoldMost(t *testing.T) {
	p := NewSlots(12, func(tenant string) int {
		if tenant == "large" {
			return 3
		}
		return 1
	})
	lost := map[string]int{}
	take := func(tenant string) *Slot { return p.Take(tenant, func() { lost[tenant]++ }) }
	for i := range 12 {
		if take("greedy") == nil {
			t.Fatalf("no slot %d of 12", i+1)
		}
	}
	if take("greedy") != nil {
		t.Error("a slot beyond all")
	}
	for range 20 {
		take("quiet")
	}
	if p.Of("greedy") != 6 || p.Of("quiet") != 6 || lost["greedy"] != 6 || lost["quiet"] != 0 {
		t.Errorf("greedy has %d, quiet %d; lost %v", p.Of("greedy"), p.Of("quiet"), lost)
	}
	if take("greedy") != nil {
		t.Error("the greedy one takes slots back")
	}
	for range 20 {
		take("large")
	}
	if p.Of("large") < 7 || p.Of("greedy") < 2 || p.Of("quiet") < 2 || p.Taken() != 12 {
		t.Errorf("large has %d, greedy %d, quiet %d", p.Of("large"), p.Of("greedy"), p.Of("quiet"))
	}
	for i := range 12 {
		take(fmt.Sprint(i)) // each of these has none
	}
	if p.Taken() != 12 || len(p.holders) > 12 {
		t.Errorf("%d slots, %d tenants", p.Taken(), len(p.holders))
	}
}

// Whatever is taken, lost and left in whichever order, the numbers add up and nobody is remembered
// in the end.
func TestSlotsAreCounted(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	p := NewSlots(20, nil)
	held := map[*Slot]string{}
	for range 20_000 {
		if tenant := fmt.Sprint(random.IntN(8)); random.IntN(2) == 0 {
			x := p.Take(tenant, func() {})
			if x == nil && p.Taken() < 20 {
				t.Fatal("no slot though there is one")
			}
			if x != nil {
				held[x] = tenant
			}
		} else {
			for x := range held {
				x.Release()
				x.Release()
				delete(held, x)
				break
			}
		}
		counted := map[string]int{}
		for x, tenant := range held {
			if x.element == nil {
				delete(held, x)
			} else {
				counted[tenant]++
			}
		}
		for tenant, n := range counted {
			if p.Of(tenant) != n {
				t.Fatalf("%s has %d slots and is said to have %d", tenant, n, p.Of(tenant))
			}
		}
		if p.Taken() != len(held) || len(p.holders) != len(counted) || len(p.order) != len(counted) {
			t.Fatalf("%d taken of %d, %d tenants of %d", p.Taken(), len(held), len(p.holders), len(counted))
		}
	}
}

// TestSlotsOfASize: several at once come from as many as it takes, or from nobody.
func TestSlotsOfASize(t *testing.T) {
	p := NewSlots(10, nil)
	lost := map[string]int{}
	take := func(tenant string, size int) *Slot {
		return p.TakeSize(tenant, size, func() { lost[tenant] += size })
	}
	for range 3 {
		if take("a", 3) == nil {
			t.Fatal("there was room")
		}
	}
	for _, size := range []int{9, 8} { // the second is refused after one of a's would have gone
		if take("b", size) != nil || len(lost) != 0 || p.Of("a") != 9 || p.Taken() != 9 {
			t.Errorf("b has %d, more than a would have; lost %v, a holds %d", size, lost, p.Of("a"))
		}
	}
	b := take("b", 5) // 6 and 5 would be too many, so two of a's go
	if b == nil || lost["a"] != 6 || p.Of("a") != 3 || p.Of("b") != 5 {
		t.Errorf("b holds %d, lost %v", p.Of("b"), lost)
	}
	if take("a", 3) != nil {
		t.Error("a would hold more than b")
	}
	if take("c", 11) != nil {
		t.Error("more than there are")
	}
	b.Release()
	b.Release()
	if p.Taken() != 3 || lost["b"] != 0 {
		t.Errorf("%d taken, lost %v", p.Taken(), lost)
	}
}
