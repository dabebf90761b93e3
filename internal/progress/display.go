package progress

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// bar draws on a terminal: a bar once there is a total, one line of text until then.
//
// A terminal that cannot be written to is no reason to end the job, so errors of the bar are
// dropped.
type bar struct {
	w    io.Writer
	o    Options
	text *lines
	bar  *progressbar.ProgressBar // nil until there is a total
}

func newBar(w io.Writer, o Options) *bar {
	return &bar{w: w, o: o, text: newLines(w, o)}
}

func (b *bar) show(done, total int64) {
	if total <= 0 {
		fmt.Fprint(b.w, "\r"+b.text.line(done, 0)+"\x1b[K")
		return
	}
	if b.bar == nil {
		b.bar = b.draw(total)
	}
	if total != b.bar.GetMax64() {
		b.bar.ChangeMax64(total)
	}
	_ = b.bar.Set64(min(done, total-1)) // a full bar is finished for good: only finish fills it
}

func (b *bar) draw(total int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(b.w),
		progressbar.OptionSetDescription(b.o.Label),
		progressbar.OptionSetItsString(b.o.Unit),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionShowElapsedTimeOnFinish(),
		progressbar.OptionSetWidth(30),
		progressbar.OptionUseANSICodes(true),
	)
}

func (b *bar) finish(done, total int64) {
	b.show(done, total)
	if b.bar != nil && done >= total {
		_ = b.bar.Finish()
	}
	fmt.Fprintln(b.w)
}

// lines writes plain text.
type lines struct {
	w        io.Writer
	o        Options
	began    time.Time
	lastTime time.Time
	lastDone int64
}

func newLines(w io.Writer, o Options) *lines {
	now := time.Now()
	return &lines{w: w, o: o, began: now, lastTime: now}
}

func (l *lines) show(done, total int64) { fmt.Fprintln(l.w, l.line(done, total)) }

// line is the state of the job and the rate since the last line.
func (l *lines) line(done, total int64) string {
	now := time.Now()
	rate := perSecond(done-l.lastDone, now.Sub(l.lastTime))
	l.lastTime, l.lastDone = now, done
	text := fmt.Sprintf("%s: %s", l.o.Label, Count(float64(done)))
	if total > 0 {
		text += fmt.Sprintf(" of %s %s (%d %%)", Count(float64(total)), l.o.Unit, 100*done/total)
	} else {
		text += " " + l.o.Unit
	}
	text += fmt.Sprintf(", %s/s", Count(rate))
	if total > done && rate > 0 {
		left := time.Duration(float64(total-done) / rate * float64(time.Second))
		text += fmt.Sprintf(", %s left", max(left, time.Second).Round(time.Second))
	}
	return text
}

func (l *lines) finish(done, _ int64) {
	took := time.Since(l.began)
	fmt.Fprintf(l.w, "%s: %s %s in %s, %s/s\n", l.o.Label, Count(float64(done)), l.o.Unit,
		took.Round(time.Millisecond), Count(perSecond(done, took)))
}

func perSecond(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
