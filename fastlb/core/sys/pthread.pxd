# SPDX-License-Identifier: Apache-2.0
"""Threads, mutexes, conditions, signal masks and affinity, as the C library declares them. No logic."""

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_create(pthread_t *thread, const void *attributes, void *(*run)(void *) noexcept nogil, void *argument) noexcept
    int pthread_join(pthread_t thread, void **result) noexcept
    pthread_t pthread_self() noexcept
    int pthread_setname_np(pthread_t thread, const char *name) noexcept
    int pthread_mutex_init(pthread_mutex_t *mutex, void *attributes) noexcept
    int pthread_mutex_destroy(pthread_mutex_t *mutex) noexcept
    int pthread_mutex_lock(pthread_mutex_t *mutex) noexcept
    int pthread_mutex_unlock(pthread_mutex_t *mutex) noexcept
    int pthread_cond_init(pthread_cond_t *condition, void *attributes) noexcept
    int pthread_cond_destroy(pthread_cond_t *condition) noexcept
    int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex) noexcept
    int pthread_cond_broadcast(pthread_cond_t *condition) noexcept

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    int SIG_SETMASK
    int sigfillset(sigset_t *set) noexcept
    int pthread_sigmask(int how, const sigset_t *set, sigset_t *old) noexcept

cdef extern from "<sched.h>" nogil:
    ctypedef struct cpu_set_t:
        pass
    void CPU_ZERO(cpu_set_t *set) noexcept
    void CPU_SET(int cpu, cpu_set_t *set) noexcept
    int pthread_setaffinity_np(pthread_t thread, size_t size, const cpu_set_t *set) noexcept
