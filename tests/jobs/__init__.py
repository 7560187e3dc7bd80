"""Tests of the jobs, a module each; a package, so that one may be called as another test is."""
