package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// maxStarts is how many starts damage may take to heal: the first question that meets a corrupt
// table may end the process, and the start after that heals.
const maxStarts = 5

// judge starts the server on damaged data, as an operator would, until it serves or is known to
// refuse. What was seen is one of a few sentences. Any other end is an error: a wrong answer, a
// loss that nobody tells of, a panic, starts that fail for ever for a reason that nobody names.
func judge(ctx context.Context, s *server, o *oracle, tokenMayEnd bool) (seen string, err error) {
	defer func() {
		if words := s.panicked(); words != nil {
			err = errors.Join(words, err)
		}
		err = errors.Join(err, s.kill())
	}()
	again := false // it refused the last time already
	for range maxStarts {
		err := s.start(ctx)
		if errors.Is(err, errEnded) {
			if words := s.panicked(); words != nil {
				return "", words
			}
			if again {
				return s.refused(ctx, o)
			}
			again = true
			continue
		}
		if err != nil {
			return "", err
		}
		healed, err := s.serves(ctx, o, tokenMayEnd)
		if err == nil {
			return healed, nil
		}
		if !s.ends() {
			return "", err
		}
		again = false
	}
	return "", fmt.Errorf("%d starts did not heal it: %s", maxStarts, s.lastWords())
}

// ends reports whether the process ends by itself, which it may be about to.
func (s *server) ends() bool {
	if !s.running() {
		return true
	}
	return within(2, func() bool { return !s.running() })
}

// serves compares all answers of a ready server, and those after one more start.
func (s *server) serves(ctx context.Context, o *oracle, tokenMayEnd bool) (seen string, err error) {
	told := false
	for range 2 {
		if _, err := o.compare(ctx, s, false); err != nil {
			return "", err
		}
		if _, err := o.logins(ctx, s, false); err != nil {
			return "", err
		}
		if _, err := o.inboxes(ctx, s, false); err != nil {
			return "", err
		}
		if err := o.filled(ctx, s); err != nil {
			return "", err
		}
		if _, err := s.askAs(ctx, o.token, "GET", appPath(accountsApp)+"/users/user0/conversations", nil); err != nil && !tokenMayEnd {
			return "", fmt.Errorf("WRONG: a token is not valid any more: %w", err)
		}
		if err := s.verify(ctx); err != nil {
			return "", err
		}
		told = told || strings.Contains(s.said(), "level=WARN") || strings.Contains(s.said(), "level=ERROR")
		if err := s.stop(); err != nil {
			return "", err
		}
		if err := s.start(ctx); err != nil {
			return "", fmt.Errorf("the start after one that served: %w", err)
		}
	}
	switch {
	case told:
		return "healed, with a warning, and equal", nil
	case s.starts > 3:
		return "ended by itself, healed, and equal", nil
	}
	return "served and equal", nil
}

// refused follows the way of an operator whose server does not start: the doctor must name it, and
// repair must lead back to a server whose answers are a part of the truth, with every loss told.
func (s *server) refused(ctx context.Context, o *oracle) (seen string, err error) {
	words := s.lastWords()
	fatal, err := s.examine(ctx)
	if err != nil {
		return "", fmt.Errorf("refused (%s): %w", words, err)
	}
	if len(fatal) == 0 {
		return "", fmt.Errorf("refused, and the doctor finds nothing: %s", words)
	}
	code := fatal[0].Code
	if !slices.ContainsFunc(fatal, func(f finding) bool {
		return strings.Contains(words, f.Code) || f.File != "" && strings.Contains(words, f.File) || f.Stream != "" && strings.Contains(words, f.Stream)
	}) {
		return "", fmt.Errorf("the refusal names neither code nor file nor stream of %v: %s", fatal, words)
	}
	repaired, exit, err := s.ctl(ctx, "repair", "--accept-loss", "--data", s.data)
	if err != nil {
		return "", err
	}
	if exit != 0 {
		if strings.Contains(repaired, "bring it back from a backup") || code == "secret_damaged" {
			return fmt.Sprintf("refused (%s), which takes a backup or a person", code), nil
		}
		return "", fmt.Errorf("repair of %s: exit %d: %s", code, exit, repaired)
	}
	if err := s.start(ctx); err != nil {
		if code == "secret_damaged" {
			return fmt.Sprintf("refused (%s), which takes a person", code), nil
		}
		return "", fmt.Errorf("after the repair (%s): %w", repaired, err)
	}
	missing, err := o.compare(ctx, s, true)
	if err != nil {
		return "", fmt.Errorf("after the repair (%s): %w", repaired, err)
	}
	gone, err := o.logins(ctx, s, true)
	if err != nil {
		return "", fmt.Errorf("after the repair (%s): %w", repaired, err)
	}
	unheard, err := o.inboxes(ctx, s, true)
	if err != nil {
		return "", fmt.Errorf("after the repair (%s): %w", repaired, err)
	}
	if err := s.verify(ctx); err != nil {
		return "", fmt.Errorf("after the repair (%s): %w", repaired, err)
	}
	if err := o.once(ctx, s); err != nil {
		return "", fmt.Errorf("after the repair (%s): %w", repaired, err)
	}
	if missing+gone+unheard == 0 {
		if err := o.filled(ctx, s); err != nil {
			return "", fmt.Errorf("after the repair (%s): %w", repaired, err)
		}
		return fmt.Sprintf("refused (%s), repaired, nothing lost", code), nil
	}
	if strings.Contains(repaired, "needs no repair") {
		return "", fmt.Errorf("LOST: %d messages, %d users and %d letters, and repair says that there was nothing to repair", missing, gone, unheard)
	}
	if unheard > 0 && !strings.Contains(repaired, "RECEIPTD_INBOX") && !strings.Contains(repaired, "of accounts and inboxes, too") {
		return "", fmt.Errorf("LOST: %d letters, and repair does not name their streams: %s", unheard, repaired)
	}
	var poison struct{ Total int }
	if err := s.call(ctx, "GET", "/v1/admin/poison", nil, &poison); err != nil {
		return "", err
	}
	if missing > 0 && poison.Total == 0 && !strings.Contains(repaired, "it is gone with all") && !strings.Contains(repaired, "what was acknowledged besides is lost") {
		return "", fmt.Errorf("LOST: %d messages, and no poison tells of them: %s", missing, repaired)
	}
	return fmt.Sprintf("refused (%s), loss accepted and told", code), nil
}

// clone puts a copy of a directory in the place of another.
func clone(to, from string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}
