"""Training: the loop, the learner of a phase, resume, schedule, method, the folder of a run, trackers."""
